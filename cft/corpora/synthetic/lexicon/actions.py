"""Verbs with what they govern.

Columns: present stem (with its final a), preverbs (``-``: none), voice (P or A), English, classes
of the subject, arguments, modifiers. English is ``base past participle`` and a particle if any,
alternatives separated by ``/``; regular forms may be left out. An argument is a case, the classes
it may come from and the English preposition (``-``: direct object; ``in``: the place's own);
``?`` marks one that may be missing. Modifiers name groups of adverbs and kinds of phrases.
An indented line continues the one before.
"""

MOTION = """
gacCa    -       P ; go went gone ; person animal ; acc place to ; companion from quick fear
gacCa    A       P ; come came come ; person animal ; acc place to ; companion from quick
gacCa    prati_A P ; return / come came come back ; person ; acc place to ; companion from quick
gacCa    nis     P ; depart ; person ; abl place from ; companion quick fear
gacCa    anu     P ; follow ; person animal ; acc person,animal - ; place quick fond
gacCa    upa     P ; approach ; person animal ; acc person,place - ; quick honour companion
gacCa    ud      P ; rise rose risen ; celestial ; abl height,water from ; quick calm
tizWa    ud      P ; rise rose risen / get got got up ; person ; abl seat from ; quick angry
pata     -       P ; fall fell fallen ; fruit leaf ; abl tree from, loc? ground on ; quick
pata     ud      P ; fly flew flown up ; bird ; abl tree,water,field from ; quick
cara     -       P ; roam ; person animal ; loc wilds,way,shore in ; companion fear grief
Brama    -       P ; wander ; person poor animal ; loc dry in ; companion grief
DAva     -       P ; run ran run ; person animal ; acc place to ; from fear quick
roha     A       P ; climb / ascend ; person climber ; acc height,tree - ; effort quick companion
roha     A       P ; mount ; person ; acc car,mount - ; quick companion
roha     A       P ; board ; person ; acc boat - ; quick companion
tara     -       P ; cross ; person ; acc water,span -, ins? boat in ; effort companion
tara     ava     P ; descend ; person ; abl height,car from ; quick companion
plava    -       A ; float / drift ; boat swimmer ; loc water in ; calm
laNGaya  -       P ; leap leapt leapt over ; mount leaper prey
    ; acc stream,way,fire - ; quick effort
viSa     pra     P ; enter ; person animal ; acc enclosed,wilds - ; companion quick fear
viSa     upa     P ; sit sat sat down / sit sat sat ; person
    ; loc seat,shore,height on ; companion calm
krAma    A       P ; attack ; warrior foe ; acc realm,foe - ; companion quick angry
varta    ni      A ; turn turned turned back ; person ; abl battle,way,place from ; fear companion
srava    -       P ; flow ; stream ; abl height from ; calm quick
naya     -       P ; lead led led / take took taken ; person
    ; acc person,animal -, acc place to ; quick
naya     A       P ; bring brought brought ; person
    ; acc thing,drink,treasure -, abl place from, dat? person for ; quick
ezaya    pra     P ; send sent sent ; royal holy kin warrior
    ; acc envoy,treasure,text -, dat person to ; quick
vaha     -       P ; carry ; person mount ; acc thing,drink -, acc place to ; effort
hara     -       P ; carry carried carried off ; thief demon foe
    ; acc treasure,cloth,young - ; from rapid
sara     anu     P ; pursue / chase ; hunter warrior predator ; acc prey,foe,thief - ; place quick
izya     anu     P ; seek sought sought / search searched searched for ; person
    ; acc person,treasure,animal - ; place effort
"""

SPEECH = """
vada     -       P ; speak spoke spoken ; person ; acc person to ; speech place
BAza     -       A ; talk ; person ; ins+saha person with ; speech place
pfcCa    -       P ; ask ; person ; acc person -, acc story,way,teaching about ; honour speech
yAca     -       A ; beg ; poor holy young guest
    ; acc royal,trader,kin -, acc food,boon,treasure for ; honour
diSa     upa     P ; teach taught taught ; teacher
    ; acc teaching,prayer -, dat person to ; fond place
kaTaya   -       P ; tell told told ; person ; acc story,teaching -, dat person to ; speech place
varRaya  -       P ; describe ; person ; acc place,battle -, dat? person to ; speech
karRaya  A       P ; hear heard heard ; person animal ; acc sound,song,story - ; place
gAya     -       P ; sing sang sung ; person singer
    ; acc song -, ins? instrument to ; speech place companion
japa     -       P ; mutter / recite ; holy person ; acc prayer - ; honour place speech
paWa     -       P ; read read read / study ; person ; acc text - ; place effort
liKa     -       P ; write wrote written ; learned royal poet ; acc text,kAvya - ; place effort
racaya   -       P ; compose ; poet learned ; acc text,song - ; place fond
Sikza    -       A ; learn ; pupil young royal ; acc teaching,prayer -, abl? teacher from ; effort
SaMsa    pra     P ; praise ; person ; acc person - ; speech honour
ninda    -       P ; blame / scold ; person ; acc person - ; speech angry
lapa     vi      P ; lament / wail ; person ;  ; place speech grief
hasa     -       P ; laugh ; person ;  ; place companion speech feeling
garja    -       P ; roar ; roarer cloud ;  ; place
kUja     -       P ; warble ; bird ; loc tree,limb,pleasance in ; calm
mantraya ni      A ; invite ; person ; acc person -, dat rite to ; fond
vAdaya   -       P ; play ; singer person ; acc instrument - ; place fond
"""

CARE = """
yacCa    pra     P ; give gave given / offer ; person
    ; acc gift,food,drink,weapon,boon -, dat person to ; fond place
darSaya  -       P ; show showed shown ; person ; acc thing,way,place -, dat person to ; fond
pUjaya   -       P ; worship worshipped worshipped ; person
    ; acc deity,holy,fire -, ins? offering with ; honour place
sTApaya  -       P ; place / put put put ; person
    ; acc thing -, loc ground,seat,tree,door on ; calm quick
rakza    -       P ; protect / guard ; royal warrior deity
    ; acc person,realm,animal -, abl? danger from ; effort
pAlaya   -       P ; rule / govern ; royal ; acc realm,BUmi - ; fond effort
seva     -       A ; serve ; person ; acc royal,holy,guest - ; honour place
vanda    -       A ; salute / venerate ; person ; acc holy,deity,royal - ; honour
Rama     pra     P ; bow bowed bowed to ; person ; acc holy,deity,kin - ; honour place
nanda    aBi     P ; welcome / greet ; person ; acc guest,envoy,name - ; fond honour
liNga    A       P ; embrace ; person ; acc kin,name - ; fond
cumba    -       P ; kiss ; person ; acc kin,young - ; fond
spfSa    -       P ; touch ; person ; acc thing,water,animal -, ins? hand with ; calm
kzAlaya  -       P ; wash / rinse ; person ; acc cloth,vessel,body -, ins? cleaner with ; place
siYca    -       P ; sprinkle ; person ; acc plant,field,bloom -, ins cleaner with ; place
BUzaya   -       P ; adorn / decorate ; person
    ; acc person,mount,door,car -, ins ornament with ; fond
DAraya   -       P ; wear wore worn ; person ; acc wearable - ; place
paca     -       P ; cook ; cook person ; acc cooked,meat -, dat? person for ; place
boDaya   -       P ; awaken / wake woke woken ; person ; acc person - ; calm fond
GAwaya   ud      P ; open ; person ; acc door - ; quick calm
kfza     -       P ; plough ; farmer ; acc field -, ins? tool with ; effort
vapa     -       P ; sow sowed sown ; farmer ; acc seed -, loc field in ; effort
Kana     -       P ; dig dug dug ; farmer worker ; acc digging -, loc? settled,field in ; effort
vaya     -       P ; weave wove woven ; worker cook ; acc cloth -, dat? person for ; place
muYca    -       P ; release / free freed freed ; person ; acc animal,foe,thief - ; fond place
gaRaya   -       P ; count ; person ; acc treasure,herd,bird - ; place
"""

HARM = """
jaya     -       P ; conquer / defeat ; warrior royal ; acc foe,realm -, ins? weapon with ; place
yuDya    -       A ; fight fought fought ; warrior foe
    ; ins+saha foe,demon,warrior with, ins? weapon with ; battle
tuda     -       P ; strike struck struck ; warrior hunter foe
    ; acc foe,predator,demon -, ins weapon,stick with ; battle angry
viDya    -       P ; pierce ; hunter warrior ; acc prey,foe,predator -, ins arrow with ; battle
kzipa    -       P ; throw threw thrown / hurl ; warrior foe demon
    ; acc missile -, loc foe,predator,demon at ; battle angry
mAraya   -       P ; slay slew slain / kill ; warrior hunter predator
    ; acc prey,foe,predator -, ins? weapon with ; battle
tAqaya   -       P ; beat beat beaten ; person ; acc thief,herd -, ins? stick with ; angry
Dama     -       P ; blow blew blown ; warrior ; acc conch - ; battle place
coraya   -       P ; steal stole stolen ; thief ; acc treasure,food,cloth - ; from rapid
gUha     -       P ; hide hid hidden ; thief person
    ; acc treasure,text -, loc ground,guhA,tree,wilds in ; fear
vaYcaya  -       P ; deceive ; thief demon ; acc person -, ins? words with ; place
daha     -       P ; burn burnt burnt ; fire ; acc burnable - ; rapid
Bakzaya  -       P ; devour ; predator demon ; acc prey,meat - ; rapid place
tyaja    -       P ; abandon / forsake forsook forsaken ; person ; acc place,vice,weapon - ; grief
naSya    -       P ; perish ; foe demon vice realm ; ins? weapon by ; rapid
"""

STATES = """
tizWa    -       P ; stand stood stood ; person animal ; loc place,door in ; companion
vasa     -       P ; dwell dwelt dwelt ; person ; loc dwelling,settled,wilds in ; companion
jIva     -       P ; live ; person animal ; loc dry in ; companion
krIqa    -       P ; play ; young prey climber ; loc dry in ; companion feeling
nftya    -       P ; dance ; singer young kin name mayUra
    ; loc pleasance,enclosed,shore in ; companion feeling
piba     -       P ; drink drank drunk ; person animal
    ; acc drink -, ins? vessel with ; place companion
KAda     -       P ; eat ate eaten ; person climber bird ; acc food - ; place companion
KAda     -       P ; eat ate eaten / chew ; herd prey ; acc fodder,leaf - ; place calm
paSya    -       P ; see saw seen / behold beheld beheld ; person
    ; acc person,animal,thing,celestial,place - ; place quick
smara    -       P ; remember / think thought thought of ; person
    ; acc person,place,teaching,idea - ; place fond
cintaya  -       P ; ponder ; person ; acc teaching,words,question,idea - ; place
DyAya    -       P ; meditate meditated meditated on ; holy person
    ; acc deity,teaching,mantra,idea - ; place honour
gacCa    ava     P ; understand understood understood ; person
    ; acc teaching,text,question,idea - ; rapid effort
icCa     -       P ; want / desire ; person ; acc thing,treasure,food,boon,attainment - ; always
vinda    -       P ; find found found ; person ; acc treasure,animal,person - ; place
laBa     -       A ; obtain / gain ; person ; acc gift,boon,attainment -, abl? person from ; effort
Soca     -       P ; mourn / grieve grieved grieved for ; person ; acc person,kin - ; place
saha     -       A ; endure / bear bore borne ; person ; acc pain - ; place
snihya   -       P ; love ; person ; loc kin,young,name - ; always
kruDya   -       P ; rage raged raged at ; person ; dat person - ; always
tuzya    -       P ; be was been pleased ; person deity ; ins gift,words,offering with ; always
moda     -       A ; rejoice ; person ; loc dry in ; companion
kampa    -       A ; tremble / shake shook shaken ; person animal ; loc dry in ; fear
Ikza     prati   A ; await ; person ; acc person - ; place
jvala    -       P ; blaze ; fire light ; loc dry in ; always
kASa     pra     A ; shine shone shone ; celestial light ; loc dry in ; always
rAja     vi      A ; gleam / glitter ; treasure celestial name ; loc place,seat in ; always
kasa     vi      P ; bloom / blossom ; bloom ; loc pleasance,pool,wilds in ; always
varza    -       P ; rain ; cloud ; loc dry,ground on ; rapid
SAmya    -       P ; subside / cease ; fire wind vice pain ; loc? place in ; always
vaha     -       P ; blow blew blown ; wind ; loc dry in ; calm quick
"""
