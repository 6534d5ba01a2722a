"""What people write: hardware, models, workloads, engines, scenarios and plans as YAML."""
