"""Many runs together: over projects, users, purposes and months."""
