"""The editor in the browser, ``spnn edit``: what it works with (:mod:`~spnn.app.editor`, which needs no Gradio) and the
page around it (:mod:`~spnn.app.page`, which does)."""
