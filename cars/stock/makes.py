"""What cars of a make cost new, and how they age: roughly, in today's euros."""

from dataclasses import dataclass


@dataclass(frozen=True)
class Terms:
    """A new car costs `price` euros, half of it after `years_to_half`; it drives `km` a year."""

    price: int
    years_to_half: int
    km: int


ORDINARY = Terms(28_000, 5, 11_000)

_CLASSES = {
    Terms(14_000, 5, 9_000): (
        "Anadol, Autobianchi, Dacia, Daewoo, FSO, GAZ, Geo, Gurgel, Hindustan, Innocenti, "
        "Iran Khodro, Lada, Mahindra, Maruti, Moskvitch, Oltcit, Perodua, Polski Fiat, Proton, "
        "Reliant, Smart, Tata, Trabant, UAZ, Wartburg, Wuling, ZAZ, Zastava"
    ),
    Terms(60_000, 6, 12_000): (
        "Acura, Alvis, Audi, BMW, Cadillac, Daimler, Fisker, Genesis, Hummer, Infiniti, Jaguar, "
        "Land Rover, Lexus, Lincoln, Lynk & Co, Mercedes-Benz, NIO, Packard, Polestar, Rivian, "
        "Tatra, Tesla, Volvo, Zeekr"
    ),
    Terms(95_000, 10, 6_000): (
        "AC, Alpine, Ariel, Austin-Healey, Borgward, Bricklin, Bristol, Caterham, Cord, "
        "De Tomaso, DeLorean, Donkervoort, Iso, Jensen, Lotus, Lucid, Maserati, Matra, Morgan, "
        "Porsche, TVR"
    ),
    Terms(280_000, 40, 2_500): (
        "Aston Martin, Bentley, Benz, Duesenberg, Facel Vega, Ferrari, Lamborghini, Maybach, "
        "McLaren, Pegaso, Rolls-Royce, Spyker, Stutz"
    ),
    Terms(2_200_000, 40, 1_000): "Bugatti, Koenigsegg, Pagani, Rimac",
}
_BY_MAKE = {make: terms for terms, makes in _CLASSES.items() for make in makes.split(", ")}


def terms_of(make: str) -> Terms:
    """Return the terms of cars of `make`."""
    return _BY_MAKE.get(make, ORDINARY)
