"""The registry: what MLflow shows to people and tools, mirrored from the ledger. MLflow is used here only.

Every function looks first and acts only where something differs, so each may be repeated after any crash. Address and
credentials are MLflow's own environment: MLFLOW_TRACKING_URI, MLFLOW_TRACKING_USERNAME, MLFLOW_TRACKING_PASSWORD.
"""
