"""Serving: an export behind an endpoint that the OpenAI client speaks to. Ray Serve is used here only."""
