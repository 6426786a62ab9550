"""One reader per file format: from files of one image to one `Sample`."""
