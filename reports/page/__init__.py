"""The pages: words, tables, charts, and the templates that hold them."""
