"""The cars of the lot.

files     cars from CSV files, the shipped one among them
invented  mileages, prices and whole cars, drawn at random
"""
