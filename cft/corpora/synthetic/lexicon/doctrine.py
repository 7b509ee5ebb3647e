"""Words of the contemplative verses, and the concepts that their meanings are made of.

A concept fills one slot of a meaning; its variants are synonyms, so that two verses can say the
same in other words. Concepts of one field are near to each other.
"""

# ``idea`` and ``attainment`` mark what the persons of the epic meditate on and strive for, too.
NOUNS = """
prARa       m  breath|vital_breath     doctrine idea
SvAsa       m  breath|breathing        doctrine bare idea
citta       n  mind                    doctrine idea
mAnasa      n  mind                    doctrine idea
hfdaya      n  heart                   doctrine in idea
deha        m  body                    doctrine idea
SarIra      n  body                    doctrine idea
prakASa     m  light|radiance          doctrine idea
Aloka       m  light                   doctrine idea
BAskara     m  sun                     doctrine one idea
SaSANka     m  moon                    doctrine one idea
vahni       m  fire                    doctrine one idea
pAvaka      m  fire                    doctrine one idea
AkASa       m  space                   doctrine bare idea
gagana      n  space|sky               doctrine bare idea
SUnya       n  void|emptiness          doctrine idea
SUnyatA     f  emptiness|voidness      doctrine bare idea
nAda        m  sound|resonance         doctrine idea
Dvani       m  sound                   doctrine idea
akzara      n  sacred_syllable         doctrine idea
mOna        n  silence                 doctrine bare idea
niHSabdatA  f  silence|soundlessness   doctrine bare idea
salila      n  water                   doctrine idea
udaka       n  water                   doctrine idea
Ananda      m  bliss                   doctrine bare idea attainment
suKa        n  happiness|joy           doctrine bare idea attainment
prIti       f  love                    doctrine bare idea
anurAga     m  love                    doctrine bare idea
icCA        f  desire                  doctrine bare idea
kAma        m  desire                  doctrine bare idea
nidrA       f  sleep                   doctrine bare idea
svapna      m  sleep|dream             doctrine bare idea
jYAna       n  knowledge               doctrine bare idea attainment
tattva      n  reality|truth           doctrine bare idea attainment
cEtanya     n  consciousness|awareness doctrine bare idea
cetanA      f  consciousness           doctrine bare idea
Sakti       f  power|energy            doctrine idea
vIrya       n  power                   doctrine idea
kAla        m  time                    doctrine bare idea
samaya      m  time                    doctrine bare idea
netra       n  eye                     doctrine idea
nayana      n  eye                     doctrine idea
mukti       f  liberation|freedom      doctrine bare attainment
mokza       m  liberation|release      doctrine bare attainment
sidDi       f  perfection              doctrine bare attainment
upaSama     m  peace|tranquillity      doctrine bare attainment
kaRWa       m  throat                  doctrine in
nABi        f  navel                   doctrine in
mastaka     n  head                    doctrine in
BrUmaDya    n  space_between_the_brows doctrine in
vijana      n  solitary_place          doctrine in
saMDyA      f  dusk|twilight           doctrine at bare
SradDA      f  faith                   doctrine bare
prajYA      f  insight|wisdom          doctrine bare attainment
sADaka      m  seeker|practitioner     doctrine person
Bakta       m  devotee                 doctrine person
buDa        m  wise_man                doctrine person
"""

VERBS = """
BAvaya  -    P ; contemplate                       ; ; acc focus - ;
DyAya   -    P ; meditate meditated meditated on   ; ; acc focus - ;
paSya   -    P ; see saw seen / behold beheld beheld ; ; acc focus - ;
Ikza    -    A ; behold beheld beheld / observe    ; ; acc focus - ;
smara   -    P ; remember / recall                 ; ; acc focus - ;
cintaya anu  P ; recollect                         ; ; acc focus - ;
pUjaya  -    P ; worship worshipped worshipped     ; ; acc focus - ;
arca    -    P ; worship worshipped worshipped / revere ; ; acc focus - ;
DAraya  -    P ; hold held held                    ; ; acc focus - ;
rakza   -    P ; guard / keep kept kept            ; ; acc focus - ;
izya    anu  P ; seek sought sought                ; ; acc focus - ;
mArga   -    P ; seek sought sought                ; ; acc focus - ;
viSa    pra  P ; enter                             ; ; acc focus - ;
viSa    -    P ; enter                             ; ; acc focus - ;
tyaja   -    P ; abandon / give gave given up      ; ; acc focus - ;
muYca   -    P ; release / let let let go_of       ; ; acc focus - ;
laBa    -    A ; attain / obtain                   ; ; acc fruit - ;
vinda   -    P ; find found found                  ; ; acc fruit - ;
gacCa   aDi  P ; attain / reach                    ; ; acc fruit - ;
tara    -    P ; overcome overcame overcome / cross crossed crossed beyond ; ; acc fruit - ;
jaya    -    P ; conquer                           ; ; acc fruit - ;
"""

# slot, name, field, variants: a noun, adjective+noun, verb or verb+preverb, or verb:noun.
CONCEPTS = """
focus  breath     body     prARa SvAsa
focus  heart      body     hfdaya
focus  body       body     deha SarIra
focus  sight      body     netra nayana
focus  mind       mind     citta mAnasa
focus  desire     mind     icCA kAma
focus  sleep      mind     nidrA svapna
focus  love       mind     prIti anurAga
focus  light      light    prakASa Aloka
focus  sun        light    BAskara sUrya
focus  moon       light    SaSANka candra
focus  fire       light    vahni pAvaka
focus  space      space    AkASa gagana
focus  void       space    SUnya SUnyatA
focus  silence    space    mOna niHSabdatA
focus  time       space    kAla samaya
focus  sound      sound    nAda Dvani
focus  mantra     sound    mantra akzara
focus  knowledge  knowing  jYAna vidyA
focus  truth      knowing  tattva satya
focus  awareness  knowing  cEtanya cetanA
focus  water      element  salila udaka
focus  power      element  Sakti vIrya
focus  bliss      element  Ananda suKa
act    contemplate attend  BAvaya DyAya
act    behold     attend   paSya Ikza
act    remember   attend   smara cintaya
act    worship    revere   pUjaya arca
act    hold       keep     DAraya rakza
act    seek       approach izya mArga
act    enter      approach viSa+pra viSa
act    release    leave    tyaja muYca
place  heart      body     hfdaya
place  throat     body     kaRWa
place  navel      body     nABi
place  head       body     mastaka
place  brow       body     BrUmaDya
place  cave       outside  guhA
place  mountain   outside  giri parvata
place  solitude   outside  vijana
place  dawn       hour     praBAta
place  dusk       hour     saMDyA
place  night      hour     rAtri
manner devotion   feeling  Bakti
manner faith      feeling  SradDA
manner affection  feeling  sneha
manner calm       thought  SAnta+citta SAnta+mAnasa
manner focus      thought  ekAgra+citta ekAgra+mAnasa
manner insight    thought  prajYA
manner effort     will     yatna
fruit  peace      ease     laBa:SAnti gacCa:upaSama
fruit  bliss      ease     laBa:Ananda vinda:suKa
fruit  liberation beyond   gacCa:mukti laBa:mokza
fruit  perfection beyond   gacCa:sidDi vinda:sidDi
fruit  insight    knowing  laBa:jYAna vinda:prajYA
fruit  truth      knowing  gacCa:satya vinda:tattva
fruit  sorrow     ending   tara:Soka jaya:duHKa
fruit  fear       ending   tara:Baya jaya:Baya
fruit  anger      ending   jaya:kroDa tara:kroDa
agent  sage       holy     muni fzi
agent  seeker     seeker   sADaka
agent  devotee    seeker   Bakta
agent  wise       holy     buDa
agent  person     anyone   nara
"""
