"""What is measured: one module for each way to talk to UP42, one function for each thing that is done with it."""
