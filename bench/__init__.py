"""What pagerelay's speed is compared with, in the same run, on the same machine: ``make bench``.

Figures are ratios. Requests per second say more about the machine than about the code.
"""
