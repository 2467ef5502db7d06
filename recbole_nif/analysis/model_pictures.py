def draw_model(variant, options, settings):
    return []
