"""The cars of the lot.

files     cars from CSV files, including the one that comes with the project
invented  mileages, prices and whole cars, drawn at random
"""
