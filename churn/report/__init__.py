"""What people read: notebooks run and turned into pages, tables, sentences, charts."""
