"""Semantic IDs: every item as a short list of codes, so that similar items share their first codes.

Read in this order: ``build`` (all of it), ``text`` and ``encoders`` (an item's vector), ``quantizer`` (the
vector's codes) and ``quantizer_file`` (those of items that come later), ``codes`` (the IDs and their file),
``trie`` (which IDs exist, and which items share a code).
"""
