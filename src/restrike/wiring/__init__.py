"""Who gets a table's changes, and what each would see of a touch: what plans and doctor know alike.

`consumers` are the functions that Lambda's mappings invoke, `audience` is everybody else; `beside` asks a service that
one can do without.
"""
