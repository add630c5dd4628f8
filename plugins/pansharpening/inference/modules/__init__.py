"""Any torch module on scenes: how far it looks is measured."""
