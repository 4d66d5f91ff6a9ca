"""Spanish and French that can be translated word by word: one English word for each, and sentences to use them in.

Nouns are listed by gender, adjectives in both forms. French nouns begin with a consonant, so that no article is
joined to them. `phrase` makes a sentence, `NOUNS` are words that may stand in an English one.
"""

from __future__ import annotations

import random
import re
from dataclasses import dataclass

from microturn.scenes.words import ALL


def _words(text: str) -> dict[str, str]:
    return dict(pair.split("/") for pair in text.split())


@dataclass(frozen=True)
class Tongue:
    name: str  # in English
    m: dict[str, str]  # masculine nouns
    f: dict[str, str]
    am: dict[str, str]  # adjectives as they follow a masculine noun
    af: dict[str, str]
    v: dict[str, str]  # what somebody does to something
    other: dict[str, str]
    patterns: tuple[str, ...]

    def english(self) -> dict[str, str]:
        return {**self.other, **self.am, **self.af, **self.v, **self.m, **self.f}


TONGUES = {
    "es": Tongue(
        "spanish",
        m=_words(
            """perro/dog gato/cat caballo/horse pájaro/bird cerdo/pig pato/duck ratón/mouse oso/bear león/lion
            lobo/wolf zorro/fox queso/cheese arroz/rice huevo/egg tomate/tomato limón/lemon jugo/juice
            vino/wine café/coffee té/tea libro/book lápiz/pencil papel/paper reloj/clock teléfono/phone
            coche/car tren/train barco/boat avión/airplane sombrero/hat zapato/shoe vestido/dress árbol/tree
            fuego/fire río/river lago/lake jardín/garden puente/bridge mercado/market niño/boy hombre/man
            hermano/brother padre/father abuelo/grandfather amigo/friend médico/doctor maestro/teacher
            rey/king vecino/neighbor cuchillo/knife"""
        ),
        f=_words(
            """vaca/cow oveja/sheep gallina/chicken rana/frog abeja/bee araña/spider tortuga/turtle manzana/apple
            naranja/orange pera/pear uva/grape fresa/strawberry cebolla/onion zanahoria/carrot sopa/soup
            carne/meat leche/milk cerveza/beer mesa/table silla/chair cama/bed puerta/door ventana/window
            llave/key taza/cup cuchara/spoon botella/bottle lámpara/lamp camisa/shirt falda/skirt flor/flower
            luna/moon estrella/star lluvia/rain nieve/snow piedra/stone playa/beach montaña/mountain
            casa/house escuela/school iglesia/church ciudad/city calle/street niña/girl mujer/woman
            hermana/sister madre/mother abuela/grandmother reina/queen"""
        ),
        am=_words(
            """rojo/red blanco/white negro/black amarillo/yellow verde/green azul/blue grande/big pequeño/small
            nuevo/new viejo/old caliente/hot frío/cold limpio/clean barato/cheap bonito/pretty"""
        ),
        af=_words(
            """roja/red blanca/white negra/black amarilla/yellow verde/green azul/blue grande/big pequeña/small
            nueva/new vieja/old caliente/hot fría/cold limpia/clean barata/cheap bonita/pretty"""
        ),
        v=_words(
            """come/eats bebe/drinks ve/sees tiene/has compra/buys vende/sells quiere/wants lleva/carries
            abre/opens lava/washes pinta/paints encuentra/finds pierde/loses mira/watches corta/cuts
            olvida/forgets necesita/needs"""
        ),
        other=_words(
            """el/the la/the un/a una/a y/and con/with en/in mi/my tu/your este/this esta/this aquí/here
            hoy/today mañana/tomorrow ahora/now siempre/always nunca/never también/also muy/very está/is
            sobre/on bajo/under sin/without para/for"""
        ),
        patterns=(
            "el {m} {v} la {f}", "la {f} {v} el {m}", "el {m} {am} {v} una {f} {af}", "la {f} {af} {v} un {m} {am}",
            "mi {m} está en la {f}", "tu {f} está sobre el {m}", "el {m} y la {f}", "la {f} está bajo el {m} {am}",
            "hoy mi {m} {v} una {f}", "ahora la {f} {v} un {m}", "este {m} está aquí", "esta {f} está muy {af}",
            "el {m} está muy {am} hoy", "mi {f} siempre {v} un {m}", "tu {m} nunca {v} la {f}",
            "mañana el {m} {v} tu {f}", "un {m} {am} con una {f} {af}", "una {f} sin un {m}",
            "este {m} también {v} una {f}", "la {f} {v} un {m} para mi {m}", "mi {m} está con tu {f}",
            "esta {f} está sin mi {m}", "el {m} {v} siempre la {f} {af}", "un {m} para la {f}",
        ),
    ),
    "fr": Tongue(
        "french",
        m=_words(
            """chien/dog chat/cat cheval/horse poisson/fish cochon/pig canard/duck lapin/rabbit lion/lion
            loup/wolf renard/fox mouton/sheep pain/bread fromage/cheese riz/rice beurre/butter citron/lemon
            sucre/sugar vin/wine café/coffee thé/tea lait/milk sel/salt livre/book crayon/pencil papier/paper
            téléphone/phone train/train bateau/boat chapeau/hat manteau/coat gâteau/cake soleil/sun feu/fire
            lac/lake jardin/garden pont/bridge marché/market garçon/boy frère/brother père/father
            médecin/doctor roi/king voisin/neighbor couteau/knife verre/glass vélo/bicycle bureau/desk
            village/village ciel/sky"""
        ),
        f=_words(
            """vache/cow poule/chicken grenouille/frog tortue/turtle souris/mouse pomme/apple poire/pear
            fraise/strawberry cerise/cherry carotte/carrot tomate/tomato soupe/soup viande/meat bière/beer
            chaise/chair lampe/lamp fenêtre/window clé/key tasse/cup cuillère/spoon fourchette/fork
            bouteille/bottle chemise/shirt jupe/skirt robe/dress chaussure/shoe fleur/flower lune/moon
            pluie/rain neige/snow pierre/stone plage/beach montagne/mountain maison/house rivière/river
            ville/city rue/street cuisine/kitchen fille/girl femme/woman sœur/sister mère/mother reine/queen
            voiture/car montre/watch boîte/box"""
        ),
        am=_words(
            """rouge/red blanc/white noir/black jaune/yellow vert/green bleu/blue chaud/hot froid/cold
            propre/clean sale/dirty triste/sad rapide/fast lourd/heavy neuf/new vide/empty"""
        ),
        af=_words(
            """rouge/red blanche/white noire/black jaune/yellow verte/green bleue/blue chaude/hot froide/cold
            propre/clean sale/dirty triste/sad rapide/fast lourde/heavy neuve/new vide/empty"""
        ),
        v=_words(
            """mange/eats boit/drinks voit/sees vend/sells veut/wants lave/washes peint/paints trouve/finds
            perd/loses regarde/watches coupe/cuts cherche/seeks garde/keeps vole/steals donne/gives
            prend/takes"""
        ),
        other=_words(
            """le/the la/the un/a une/a et/and avec/with dans/in mon/my ma/my ton/your ta/your ce/this cette/this
            ici/here maintenant/now toujours/always jamais/never aussi/also très/very est/is sur/on sous/under
            sans/without pour/for demain/tomorrow"""
        ),
        patterns=(
            "le {m} {v} la {f}", "la {f} {v} le {m}", "le {m} {am} {v} une {f} {af}", "la {f} {af} {v} un {m} {am}",
            "mon {m} est dans la {f}", "ta {f} est sur le {m}", "le {m} et la {f}", "la {f} est sous le {m} {am}",
            "maintenant mon {m} {v} une {f}", "demain la {f} {v} un {m}", "ce {m} est ici", "cette {f} est très {af}",
            "le {m} est très {am}", "ma {f} {v} toujours un {m}", "ton {m} {v} aussi la {f}",
            "demain le {m} {v} ta {f}", "un {m} {am} avec une {f} {af}", "une {f} sans un {m}",
            "ce {m} {v} aussi une {f}", "la {f} {v} un {m} pour mon {m}", "mon {m} est avec ta {f}",
            "cette {f} est sans mon {m}", "le {m} {v} toujours la {f} {af}", "un {m} pour la {f}",
        ),
    ),
}  # fmt: skip
# words that may be asked for in the middle of an English sentence, and the English word whose place they take
NOUNS = {
    code: tuple((word, own) for word, own in {**tongue.m, **tongue.f}.items() if own in ALL and word != own)
    for code, tongue in TONGUES.items()
}
_SLOT = re.compile(r"\{(\w+)\}")


def phrase(rng: random.Random, code: str) -> str:
    """A sentence of the language."""
    tongue = TONGUES[code]
    lists = {slot: tuple(getattr(tongue, slot)) for slot in ("m", "f", "am", "af", "v")}
    return _SLOT.sub(lambda slot: rng.choice(lists[slot[1]]), rng.choice(tongue.patterns))


def marked(text: str, code: str) -> str:
    """The text with the language at every word."""
    return " ".join(f"{code}:{word}" for word in text.split())
