"""How do blinded raters answer? On one page that needs no network."""
