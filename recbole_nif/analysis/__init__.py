"""Where models differ and why: metrics by groups of rows, calibration, pictures of what they learned."""
