"""How are files read and written, whole or not at all, on disks and in buckets?"""
