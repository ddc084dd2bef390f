"""Touch: rewrite one attribute of selected items, so that the table's stream fires again.

`plan` looks and writes nothing; `engine` writes; `select` reads what is selected; `writer` knows the one
statement; `pace` says when; `verify` looks for the records.
"""
