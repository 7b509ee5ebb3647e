"""The themes of the epic's chapters: who acts, where, with what, and what is mostly done."""

from dataclasses import dataclass


@dataclass(frozen=True)
class Scene:
    """A theme: stems of roles, animals, places and things, and the verbs that it favours.

    ``verbs`` are present stems; preverbs do not matter. ``groups`` are groups of the verb tables.
    """

    name: str
    roles: tuple[str, ...]
    animals: tuple[str, ...]
    places: tuple[str, ...]
    things: tuple[str, ...]
    verbs: tuple[str, ...]
    groups: tuple[str, ...]


def _scene(name: str, *columns: str) -> Scene:
    return Scene(name, *(tuple(column.split()) for column in columns))


SCENES: tuple[Scene, ...] = (
    _scene(
        "exile",
        "tApasa fzi muni rAkzasI vyADa BAryA",
        "mfga kapi siMha mayUra SaSa",
        "vana araRya ASrama kuwIra giri nadI taqAga guhA",
        "Pala jala vfkza latA puzpa patra tfRa Sara kamala duHKa Soka",
        "vasa cara Brama KAda piba viSa tyaja smara Soca pata saha",
        "MOTION STATES",
    ),
    _scene(
        "hunt",
        "vyADa kumAra sevaka nfpa sAraTi",
        "mfga siMha vyAGra SaSa Sunaka vfka aSva",
        "vana araRya parvata guhA nadI mArga",
        "Sara bARa SUla raTa mAMsa tfRa vfkza Baya",
        "sara viDya DAva mAraya laNGaya karRaya tuda Bakzaya garja kampa",
        "HARM MOTION",
    ),
    _scene(
        "battle",
        "vIra senApati sAraTi Satru ari kzatriya rAkzasa",
        "aSva gaja",
        "raRaBUmi nagara purI parvata mArga",
        "Sara bARa Kaqga asi gadA SUla cakra raTa Dvaja SaNKa BerI jaya kIrti",
        "yuDya tuda kzipa jaya mAraya viDya krAma varta naSya Dama vAdaya",
        "HARM",
    ),
    _scene(
        "court",
        "nfpa rAjYI amAtya dUta senApati kavi BUpati nartakI dAsI",
        "gaja aSva Suka",
        "prAsAda saBA nagara udyAna purI",
        "siMhAsana leKa ratna maRi suvarRa hAra vastra Dana vArtA praSna gIta vIRA",
        "vada pfcCa ezaya pAlaya nanda seva liKa yacCa SaMsa mantraya rAja",
        "SPEECH CARE",
    ),
    _scene(
        "sacrifice",
        "brAhmaRa muni nfpati deva atiTi Sizya devI",
        "aSva vfzaBa",
        "yajYaSAlA ASrama mandira tIra nadI",
        "agni anala kzIra jala puzpa mAlA mantra Sloka yajYa anna Pala suvarRa vara",
        "pUjaya japa DyAya siYca sTApaya yAca yacCa jvala vanda Rama",
        "CARE SPEECH",
    ),
    _scene(
        "school",
        "guru Sizya paRqita muni kavi bAla",
        "Suka haMsa kokila",
        "ASrama kuwIra udyAna vAwikA tIra gfha",
        "pustaka Sloka kAvya Darma vidyA upadeSa satya praSna leKa mantra dIpa",
        "diSa paWa liKa Sikza cintaya pfcCa gacCa kaTaya racaya seva",
        "SPEECH STATES",
    ),
    _scene(
        "village",
        "kfzaka gopAla gopI nArI bAlikA janaka jananI yAcaka",
        "vfzaBa Sunaka kAka Suka aSva",
        "grAma kzetra gfha mArga taqAga kuwIra",
        "bIja hala kUpa kzIra odana GawA vastra SAka tfRa meGa Pala dvAra",
        "kfza vapa Kana paca varza kzAlaya vaya GAwaya vaha krIqa",
        "CARE STATES",
    ),
    _scene(
        "voyage",
        "nAvika vaRija sevaka kanyA kumAra",
        "matsya haMsa sarpa",
        "samudra sAgara dvIpa tIra nadI ApaRa",
        "nOkA ratna maRi suvarRa vAyu meGa nakzatra setu ravi sUrya Baya",
        "tara plava roha vaha vinda paSya kASa srava izya gaRaya gacCa",
        "MOTION STATES",
    ),
    _scene(
        "theft",
        "cora vaRija nfpa sevaka nArI amAtya",
        "Sunaka aSva sarpa",
        "nagara gfha ApaRa mArga prAsAda guhA",
        "Dana suvarRa hAra aNgulIyaka maRi ratna daRqa dIpa dvAra vacana loBa vastra",
        "coraya gUha sara tAqaya vaYcaya hara izya vinda muYca gaRaya",
        "HARM MOTION",
    ),
    _scene(
        "love",
        "yuvati kumAra saKI rAjYI kanyA vayasya",
        "mayUra kokila haMsa mfga",
        "udyAna vAwikA taqAga sarovara prAsAda tIra",
        "mAlA puzpa kamala leKa gIta vIRA aNgulIyaka hAra candra vAyu Soka latA",
        "snihya liNga cumba smara Ikza gAya BUzaya nftya liKa kasa kASa Soca",
        "STATES CARE",
    ),
    _scene(
        "penance",
        "fzi tApasI deva devI tApasa rAkzasa",
        "siMha sarpa mfga mayUra",
        "parvata SiKara guhA araRya svarga nadI sarovara",
        "anala mantra vara SAnti satya kroDa loBa duHKa ravi Pala candra",
        "DyAya japa laBa tyaja saha tuzya vasa roha SAmya jIva",
        "STATES CARE",
    ),
    _scene(
        "festival",
        "gAyaka nartakI gopI atiTi bAlikA vayasya pAcaka nara",
        "gaja mayUra kokila Suka",
        "nagara mandira udyAna saBA grAma mArga",
        "modaka anna mAlA Dvaja dIpa gIta vIRA BerI vastra utsava odana AmraPala",
        "gAya nftya vAdaya BUzaya moda hasa mantraya paca KAda DAraya",
        "STATES SPEECH",
    ),
    _scene(
        "healing",
        "vEdya janaka jananI putra sutA sevaka nArI",
        "SaSa Suka haMsa",
        "gfha kuwIra grAma vAwikA prAsAda",
        "jala kzIra Pala patra latA pAtra SAka duHKa Baya harza caraRa hasta dIpa",
        "kzAlaya spfSa yacCa naya saha seva boDaya paca Soca jIva SAmya",
        "CARE STATES",
    ),
    _scene(
        "embassy",
        "dUta nfpati amAtya sAraTi senApati rAjYI",
        "aSva gaja",
        "purI saBA mArga nadI prAsAda ApaRa",
        "leKa vArtA raTa ratna Dvaja vacana satya setu suvarRa praSna dvAra vastra",
        "ezaya gacCa vada BAza karRaya varRaya Ikza kaTaya nanda vanda",
        "SPEECH MOTION",
    ),
    _scene(
        "rescue",
        "kanyA rAkzasa rAkzasI vIra vayasya jananI",
        "vAnara kapi gaja siMha",
        "dvIpa samudra guhA vana parvata udyAna",
        "aNgulIyaka Sara gadA pAzARa setu anala Soka Baya jaya vfkza SAKA",
        "rakza muYca hara laNGaya izya daha lapa naya tuda vinda",
        "HARM MOTION",
    ),
    _scene(
        "pastime",
        "bAla bAlikA vayasya kumAra sutA saKI",
        "kapi Sunaka mayUra SaSa kokila matsya",
        "udyAna taqAga kzetra tIra vAwikA sarovara",
        "AmraPala modaka kamala vfkza latA kaTA gIta nOkA pAzARa GawA candra",
        "krIqa hasa roha DAva pata KAda plava kUja kaTaya moda",
        "STATES MOTION",
    ),
)
FAMILIES = ("rAmAyaRa", "BArata", "tales")
