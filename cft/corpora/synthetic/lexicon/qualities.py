"""Adjectives and indeclinables.

An adjective has a stem in -a, its English, and the classes of nouns that it can qualify; ``m:``
marks a gloss for male persons only, ``!`` excludes a class, ``-I`` marks those with a feminine in
-ī, ``pron`` the pronominal sarva. An indented line continues the one before.
"""

ADJECTIVES = """
sundara     beautiful|lovely|m:handsome  person settled pool pleasance ornament mayUra haMsa
                                         cloth mandira !danger -I
vfdDa       old|aged                     person herd predator !young !deity
taruRa      young                        person herd prey tree !bAla !bAlikA !yuvati !janaka
                                         !jananI -I !deity
SUra        brave|valiant                warrior royal siMha
DIra        steadfast                    warrior royal holy
prAjYa      wise                         royal learned holy kin driver
mUrKa       foolish                      young thief royal worker trader kapi vAnara
duzwa       wicked                       thief demon foe predator
caRqa       fierce                       demon predator roarer foe wind
krudDa      angry                        person predator mount sarpa
hfzwa       glad|happy                   person
duHKita     sad|unhappy                  person !deity
SrAnta      weary|tired                  person animal !deity
kfSa        thin|lean                    person animal !deity
priya       dear|beloved                 name kin young guest
daridra     poor                         poor farmer worker singer kin
DanAQya     rich|wealthy                 royal trader guest
capala      restless                     young climber bird
SAnta       calm|quiet                   holy pool shore dwelling pleasance citta mAnasa
kuSala      skilful                      worker driver singer cook vehicle hunter sailor learned
nirBaya     fearless                     warrior name mount siMha
prasidDa    famous                       royal warrior singer poet learned settled mandira
                                         prAsAda text
pUjya       venerable                    holy deity teacher guest
viSAla      large|vast                   field wilds water land settled prAsAda saBA tree car
                                         boat vessel cloud
dIrGa       long                         way stream weapon stick text story
ucca        high|tall                    height tree door banner
gaBIra      deep                         water digging sound
SItala      cool|cold                    water drink wind guhA height
uzRa        hot                          drink cooked ground
maDura      sweet                        food fruit drink sound song words
Sveta       white                        mount haMsa vfzaBa bloom cloth banner car conch
kfzRa       black                        mount kokila kAka sarpa Sunaka cloth cloud
rakta       red                          bloom fruit cloth banner
nIla        blue                         puzpa kamala maRi ratna water cloth
harita      green                        leaf tree plant limb fodder field
nava        new                          wearable car boat kuwIra gfha song text lamp
jIrRa       worn|shabby                  cloth car boat dwelling
puRya       holy|sacred                  stream height prayer mandira ASrama yajYaSAlA rite tIra
divya       divine|heavenly              weapon arrow cakra ornament car boon deity gIta Sabda
tIkzRa      sharp                        arrow asi KaqGa SUla cakra
dfQa        strong|firm                  span weapon door car boat
SuBra       bright|radiant               celestial maRi ratna hAra aNgulIyaka suvarRa lamp cloth
Gora        terrible|dreadful            predator araRya guhA vana Sabda pain weapon battle rAkzasa
SUnya       empty                        vessel dwelling settled way
kzudra      small|little                 SaSa Suka kapi matsya Sunaka vessel kuwIra gfha land
                                         lamp boat
ekAgra      one-pointed                  citta mAnasa
sarva       all                          person animal thing pron
"""

# stem, English, group, and the tense that it implies where it implies one
ADVERBS = """
ekadA       once|one_day                 time imperfect
purA        long_ago|in_former_times     time imperfect
hyaH        yesterday                    time imperfect
prAtaH      in_the_morning               time
sAyam       in_the_evening               time
divA        by_day                       time
naktam      at_night                     time
punaH       again|once_more              time
nityam      every_day|daily              time habit
sadA        always|at_all_times          time habit
aDunA       now                          time present
adya        today                        time present
cirAt       after_a_long_time            time imperfect
SIGram      quickly|swiftly              quick rapid
SanEH       slowly                       quick calm
sahasA      suddenly                     quick rapid
uccEH       loudly                       speech
mandam      softly|quietly               speech
"""

# Nouns in an oblique case that English renders by an adverb or a set phrase.
CIRCUMSTANCES = """
praBAta     loc  at_dawn|at_daybreak          time
maDyAhna    loc  at_noon|at_midday            time
rAtri       loc  at_night|during_the_night    time
vasanta     loc  in_spring                    time
grIzma      loc  in_summer                    time
harza       ins  joyfully|with_joy            feeling
yatna       ins  with_effort|with_great_effort effort
Adara       ins  respectfully|with_respect    honour
Bakti       ins  with_devotion|devoutly       honour
sneha       ins  with_affection|affectionately fond
kroDa       ins  in_anger|angrily             angry
Soka        abl  out_of_grief|from_grief      grief
Baya        abl  out_of_fear|from_fear        fear
"""

# Indeclinables of the sentence patterns, and the personal pronouns, which occur as subjects only.
PARTICLES = ("na", "ca", "tu", "hi", "tataH", "tadA", "yadA", "aTa", "saha", "iti")
PERSONAL = {
    (1, "sg"): ("aham", "I"),
    (1, "du"): ("AvAm", "we two"),
    (1, "pl"): ("vayam", "we"),
    (2, "sg"): ("tvam", "you"),
    (2, "du"): ("yuvAm", "you two"),
    (2, "pl"): ("yUyam", "you"),
}
