"""Our numbers beside the paper's: pure functions of tables and results, no torch, Ray or MLflow."""
