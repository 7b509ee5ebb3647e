"""Nouns for people and animals, and proper names: stem, gender, English, classes.

English glosses are separated by ``|``, with ``_`` for a space. The classes are what the verbs and
the scenes select by. ``name`` marks proper names, ``kin`` nouns that like a possessor.
"""

PEOPLE = """
nfpa        m  king|ruler            person royal
nfpati      m  king                  person royal
BUpati      m  monarch               person royal
kumAra      m  prince                person royal warrior young
rAjYI       f  queen                 person royal
vIra        m  hero                  person warrior
kzatriya    m  warrior               person warrior
senApati    m  general|commander     person warrior
sAraTi      m  charioteer            person driver
dUta        m  messenger|envoy       person envoy
sevaka      m  servant               person worker envoy
dAsI        f  maidservant           person worker
amAtya      m  minister              person learned envoy
brAhmaRa    m  brahmin|priest        person holy learned teacher
muni        m  sage                  person holy learned teacher
fzi         m  seer                  person holy learned teacher
tApasa      m  ascetic|hermit        person holy
tApasI      f  nun                   person holy
kavi        m  poet                  person learned singer poet
guru        m  teacher|master        person learned teacher holy kin
Sizya       m  pupil|disciple        person pupil young kin
paRqita     m  scholar               person learned teacher
BikzukI     f  beggar_woman          person poor
yAcaka      m  beggar                person poor
vEdya       m  doctor|physician      person learned
gAyaka      m  singer                person singer
nartakI     f  dancer                person singer
cora        m  thief|robber          person thief danger
kfzaka      m  farmer                person farmer
gopAla      m  cowherd               person farmer
gopI        f  milkmaid              person farmer
vyADa       m  hunter                person hunter danger
nAvika      m  boatman|sailor        person sailor
vaRija      m  merchant|trader       person trader
pAcaka      m  cook                  person cook
vayasya     m  friend|companion      person kin
saKI        f  friend                person kin
atiTi       m  guest                 person guest
bAla        m  boy                   person young
bAlikA      f  girl                  person young
kanyA       f  maiden                person young
yuvati      f  young_woman           person young
putra       m  son                   person young kin
sutA        f  daughter              person young kin
janaka      m  father                person kin single
jananI      f  mother                person kin cook single
BAryA       f  wife                  person kin cook single
nArI        f  woman                 person cook
nara        m  man                   person
Satru       m  enemy|foe             person foe danger
ari         m  enemy|foe             person foe danger
rAkzasa     m  demon                 person demon foe danger
rAkzasI     f  demoness              person demon danger
deva        m  god                   person deity
devI        f  goddess               person deity
"""

ANIMALS = """
aSva        m  horse                 animal mount herd
gaja        m  elephant              animal mount herd
vfzaBa      m  bull                  animal herd
siMha       m  lion                  animal predator roarer danger
vyAGra      m  tiger                 animal predator roarer danger
vfka        m  wolf                  animal predator danger
mfga        m  deer                  animal prey
SaSa        m  hare|rabbit           animal prey
vAnara      m  monkey                animal climber leaper
kapi        m  monkey|ape            animal climber leaper
Suka        m  parrot                animal bird
haMsa       m  swan                  animal bird swimmer
mayUra      m  peacock               animal bird
kAka        m  crow                  animal bird
kokila      m  cuckoo                animal bird
sarpa       m  snake|serpent         animal danger
matsya      m  fish                  animal swimmer prey
Sunaka      m  dog                   animal herd
"""

NAMES = """
rAma          m  Rama          person name royal warrior rAmAyaRa
lakzmaRa      m  Lakshmana     person name warrior rAmAyaRa
Barata        m  Bharata       person name royal warrior rAmAyaRa
SatruGna      m  Shatrughna    person name warrior rAmAyaRa
sItA          f  Sita          person name royal rAmAyaRa
UrmilA        f  Urmila        person name royal rAmAyaRa
kOsalyA       f  Kausalya      person name royal rAmAyaRa
kEkeyI        f  Kaikeyi       person name royal rAmAyaRa
sumitrA       f  Sumitra       person name royal rAmAyaRa
daSaraTa      m  Dasharatha    person name royal warrior rAmAyaRa
sugrIva       m  Sugriva       person name royal warrior rAmAyaRa
tArA          f  Tara          person name royal rAmAyaRa
aNgada        m  Angada        person name warrior rAmAyaRa
rAvaRa        m  Ravana        person name royal warrior demon rAmAyaRa
viBIzaRa      m  Vibhishana    person name royal warrior rAmAyaRa
mandodarI     f  Mandodari     person name royal rAmAyaRa
vasizWa       m  Vasishtha     person name holy teacher learned rAmAyaRa
viSvAmitra    m  Vishvamitra   person name holy teacher learned rAmAyaRa
SabarI        f  Shabari       person name holy rAmAyaRa
vAlmIki       m  Valmiki       person name holy poet learned rAmAyaRa
yuDizWira     m  Yudhishthira  person name royal warrior BArata
BIma          m  Bhima         person name warrior BArata
arjuna        m  Arjuna        person name warrior BArata
nakula        m  Nakula        person name warrior BArata
sahadeva      m  Sahadeva      person name warrior BArata
drOpadI       f  Draupadi      person name royal BArata
suBadrA       f  Subhadra      person name royal BArata
kuntI         f  Kunti         person name royal BArata
gAnDArI       f  Gandhari      person name royal BArata
kfzRa         m  Krishna       person name royal warrior driver BArata
karRa         m  Karna         person name warrior BArata
duryoDana     m  Duryodhana    person name royal warrior BArata
droRa         m  Drona         person name teacher learned warrior BArata
vidura        m  Vidura        person name learned BArata
saYjaya       m  Sanjaya       person name driver envoy BArata
vyAsa         m  Vyasa         person name holy poet learned BArata
nala          m  Nala          person name royal warrior driver tales
damayantI     f  Damayanti     person name royal tales
sAvitrI       f  Savitri       person name royal tales
SakuntalA     f  Shakuntala    person name young tales
duzyanta      m  Dushyanta     person name royal warrior hunter tales
kaRva         m  Kanva         person name holy teacher learned tales
anasUyA       f  Anasuya       person name young tales
priyaMvadA    f  Priyamvada    person name young tales
agastya       m  Agastya       person name holy teacher learned tales
nArada        m  Narada        person name holy singer envoy learned tales
"""
