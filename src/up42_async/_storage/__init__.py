"""What is in storage: STAC collections and items, and the assets behind them."""
