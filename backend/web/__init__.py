"""Pages and the JSON API: server-rendered, in Chinese and English, complete without JavaScript."""
