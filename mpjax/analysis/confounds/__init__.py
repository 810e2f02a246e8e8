"""Could something other than pain give the classes away?"""
