"""The page on which blinded raters classify clips."""
