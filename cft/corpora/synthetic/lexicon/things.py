"""Nouns for places, things and ideas: stem, gender, English, classes (see `people`).

``in``, ``on``, ``at`` or ``by`` is the English preposition of a place's locative; ``mass`` marks
nouns without an English plural, ``bare`` those without an article, ``one`` what there is one of.
"""

PLACES = """
vana        n  forest|wood           place wilds in burnable dry
araRya      n  wilderness            place wilds in dry
nagara      n  city|town             place settled enclosed in realm dry
purI        f  city                  place settled enclosed in realm dry
grAma       m  village               place settled in realm dry
gfha        n  house|home            place dwelling enclosed in burnable dry
kuwIra      m  hut|cottage           place dwelling enclosed in burnable dry
ASrama      m  hermitage             place dwelling enclosed in dry
prAsAda     m  palace                place dwelling enclosed in dry
mandira     n  temple                place dwelling enclosed in dry
saBA        f  assembly|hall         place enclosed in dry
guhA        f  cave                  place wilds enclosed in dry
parvata     m  mountain              place height wilds on dry
giri        m  mountain|hill         place height wilds on dry
SiKara      n  peak                  place height wilds on dry
nadI        f  river                 place water stream in
taqAga      m  pond                  place water pool in
sarovara    m  lake                  place water pool in
samudra     m  ocean|sea             place water in one
sAgara      m  sea                   place water in one
tIra        n  bank|shore            place shore on dry
udyAna      n  garden                place settled pleasance enclosed in dry
vAwikA      f  grove                 place settled pleasance enclosed in dry
kzetra      n  field                 place field in dry
mArga       m  road|path             place way on dry
dvIpa       m  island                place land on dry
raRaBUmi    f  battlefield           place battle on dry
ApaRa       m  market                place settled enclosed in dry
yajYaSAlA   f  sacrificial_hall      place enclosed in dry
svarga      m  heaven                place bare in one
kUpa        m  well                  digging
BUmi        f  ground|earth          ground on one
setu        m  bridge                span on
dvAra       n  door|gate             door at
"""

THINGS = """
Pala        n  fruit                 thing food fruit gift
AmraPala    n  mango                 thing food fruit gift
modaka      m  sweet                 thing food gift
odana       m  rice                  food cooked mass
anna        n  food                  food cooked mass gift
SAka        n  vegetable             food cooked
mAMsa       n  meat                  meat mass
jala        n  water                 drink mass cleaner
kzIra       n  milk                  drink mass gift
GawA        f  jar                   thing vessel
pAtra       n  cup|vessel            thing vessel
puzpa       n  flower|blossom        thing bloom ornament gift offering
kamala      n  lotus                 thing bloom ornament gift offering
mAlA        f  garland               thing ornament gift offering wearable
vfkza       m  tree                  plant tree burnable
aSvatTa     m  fig_tree              plant tree burnable
latA        f  vine|creeper          plant
patra       n  leaf                  leaf
SAKA        f  branch                limb
bIja        n  seed                  seed
tfRa        n  grass                 fodder mass burnable
vastra      n  garment               thing cloth gift wearable
aNgulIyaka  n  ring                  thing treasure gift wearable
hAra        m  necklace              thing treasure gift wearable ornament
maRi        m  gem                   thing treasure gift ornament
ratna       n  jewel                 thing treasure gift ornament
suvarRa     n  gold                  treasure mass bare gift
Dana        n  wealth|money          treasure mass bare gift
Sara        m  arrow                 thing arrow missile
bARa        m  arrow|shaft           thing arrow missile
Kaqga       m  sword                 thing weapon
asi         m  sword|blade           thing weapon
gadA        f  mace|club             thing weapon
SUla        m  spear|lance           thing weapon missile
cakra       n  discus                thing missile
pAzARa      m  stone|rock            thing missile
daRqa       m  stick|staff           thing stick
raTa        m  chariot               thing car
nOkA        f  boat                  thing boat
Dvaja       m  banner|flag           thing banner
Asana       n  seat                  seat on
siMhAsana   n  throne                seat on
pustaka     n  book                  thing text gift
leKa        m  letter                text
Sloka       m  verse                 text song prayer
kAvya       n  poem                  text
kaTA        f  story|tale            story
vArtA       f  news                  story mass tidings
mantra      m  mantra|spell          prayer
gIta        n  song                  song sound
Darma       m  duty|law              teaching
vidyA       f  knowledge|learning    teaching mass bare
upadeSa     m  teaching|lesson       teaching
satya       n  truth                 teaching mass
praSna      m  question              question
Sabda       m  sound|noise           sound
vacana      n  word                  sound words
vIRA        f  lute                  thing instrument
BerI        f  drum                  thing drum
SaNKa       m  conch                 thing conch
agni        m  fire                  fire one
anala       m  flame                 fire
dIpa        m  lamp                  thing lamp light
sUrya       m  sun                   celestial one
ravi        m  sun                   celestial one
candra      m  moon                  celestial one
nakzatra    n  star                  celestial
meGa        m  cloud                 cloud
vAyu        m  wind                  wind one
yajYa       m  sacrifice             rite
utsava      m  festival|feast        rite
vara        m  boon|blessing         boon
jaya        m  victory               boon mass bare
kIrti       f  fame|glory            boon mass bare
SAnti       f  peace                 boon mass bare
duHKa       n  pain|suffering        pain mass bare
kroDa       m  anger|wrath           vice mass bare
loBa        m  greed                 vice mass bare
Soka        m  sorrow|grief          vice pain mass bare
Baya        n  fear                  vice mass bare
harza       m  joy                   mood mass bare
sneha       m  affection             mood mass bare
Bakti       f  devotion              mood mass bare
yatna       m  effort                mood mass bare
Adara       m  respect               mood mass bare
hasta       m  hand                  hand body
caraRa      m  foot                  body
hala        n  plough                tool
praBAta     n  dawn                  hour mass bare
maDyAhna    m  noon                  hour mass bare
rAtri       f  night                 hour
vasanta     m  spring                season mass bare
grIzma      m  summer                season mass bare
"""
