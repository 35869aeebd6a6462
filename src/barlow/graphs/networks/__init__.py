"""Graph networks on torch's sparse products: no compiled extension is needed."""
