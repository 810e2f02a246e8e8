"""Which pixels and moments decided?"""
