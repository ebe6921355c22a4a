"""What a report makes of predictions; they themselves are ``paretopipe_runtime/prediction``.

``cells`` has a cell's predictor, or why there is none; ``errors`` compares it with measurements,
``best`` searches it. ``page/sections/whatif.js`` repeats its arithmetic. See docs/prediction.md.
"""
