"""The texts of findings, and of the values that they are made of.

`findings` is what is asked for; `values` has the words of each value and `facts` those of each fact
by its code: of some a template, of others what `fact_words` makes of it, of those of certificates
what `certificate` has. Whatever prints, reports or notes a finding in words takes them from here.
"""
