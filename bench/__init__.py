"""Comparisons of pagerelay's speed with other programs, in the same run on the same machine: ``make bench``.

Results are ratios: requests per second say more about the machine than about the code.
"""
