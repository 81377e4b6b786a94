"""What people see of a batch: live, its status, its report, its export."""
