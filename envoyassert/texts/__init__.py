"""The texts of findings, and of the values that they are made of.

`findings` is what is asked for; `values` has the words of each value and `facts` those of each fact
by its code. Whatever prints, reports or notes a finding in words takes them from here.
"""
