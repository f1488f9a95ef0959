"""The editor in the browser, ``spnn edit``: its work (:mod:`~spnn.app.editor`, which doesn't need Gradio) and its page
(:mod:`~spnn.app.page`, which does)."""
