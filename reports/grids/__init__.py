"""A printed table, whatever it says, in five languages."""
