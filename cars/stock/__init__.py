"""The cars of the lot.

files     cars from CSV files, including the one that comes with the project
makes     what cars of a make cost, and how they age
invented  mileages, prices and whole cars, drawn at random
"""
