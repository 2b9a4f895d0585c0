"""What the documentation's site has beside its pages: files of the repository, the reference, checks of the result."""
