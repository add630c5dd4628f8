"""Any timm model as a backbone, and timm's attention layers as attention."""
