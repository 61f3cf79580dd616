std = "luajit"
max_line_length = 120
