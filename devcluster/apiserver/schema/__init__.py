"""The object model: served resources, their types, defaults and decoding; quantities and selectors. Pure.

May import `errors`.
"""
