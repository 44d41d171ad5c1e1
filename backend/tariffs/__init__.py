"""What water costs where and when: versions with half-open periods, exact rating, one rounding."""
