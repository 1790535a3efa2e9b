"""Curation: raw documents to a corpus of kept ones, with the reason for every one that was dropped."""
