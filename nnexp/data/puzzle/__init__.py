"""The puzzle: questions about the ages of people, computed from a seed at any index.

"Jack is 12 years old. Jane is 10. Kate is older than Jane, and younger than Jack. How old is Kate?"
"""
