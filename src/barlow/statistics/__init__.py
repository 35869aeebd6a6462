"""Statistics of the batch, over all processes: exchanges, the cross-correlation of two views, the covariance of one."""
