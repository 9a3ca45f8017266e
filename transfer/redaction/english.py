"""English, as people speak it on the telephone and as speech recognition writes it."""

from __future__ import annotations

from transfer.redaction.language import Kind, Language


def _words(text: str) -> frozenset[str]:
    return frozenset(text.split())


def _phrases(text: str) -> frozenset[str]:
    return frozenset(phrase.strip() for phrase in text.split(","))


ENGLISH = Language(
    units={
        "zero": "0", "nought": "0", "naught": "0", "oh": "0", "o": "0", "one": "1", "two": "2", "three": "3", "four": "4",
        "five": "5", "six": "6", "seven": "7", "eight": "8", "nine": "9", "niner": "9",
    },
    nought_words=_words("oh o"),
    teens={
        "ten": 10, "eleven": 11, "twelve": 12, "thirteen": 13, "fourteen": 14, "fifteen": 15, "sixteen": 16, "seventeen": 17,
        "eighteen": 18, "nineteen": 19,
    },
    tens={
        "twenty": 20, "thirty": 30, "forty": 40, "fourty": 40, "fifty": 50, "sixty": 60, "seventy": 70, "eighty": 80,
        "ninety": 90,
    },
    repeats={"double": 2, "triple": 3, "treble": 3, "quadruple": 4, "quad": 4},
    hundred="hundred",
    thousand="thousand",
    plus="plus",
    fillers=_phrases(
        "uh, um, er, erm, eh, ah, hm, hmm, mm, mhm, mm hm, uh huh, then, and, so, okay, ok, alright, right, well, "
        "yeah, yes, yep, like, next, next is, dash, hyphen, space, comma, dot, point, slash, again, followed by, and "
        "then, then comes, that's, it's, let me see, let's see, let me think, let me check, hold on, hang on, wait, "
        "one moment, one second, one sec, one minute, just a second, just a sec, just a moment, just one moment, "
        "just one second, a moment, a second, bear with me, you know, i mean, i think, i believe, sorry, no sorry, "
        "no wait, no, actually, rather, correction, sorry that's, make that, i mean it's, oops, go on, and after "
        "that, after that, and the rest is, the rest is, and finally, finally, lastly, first, start, starts with, it "
        "starts with, it goes, it reads, please"
    ),
    acknowledgements=_words(
        "mm hm mhm hmm uh huh yes yeah yep yup ok okay right sure alright go on ahead continue please and then next "
        "got it thanks thank you good great perfect i'm listening carry the rest keep going so far that noted "
        "correct fine of course one moment take your time no rush with me when ready you're i'm following cool "
        "wonderful lovely what's is all more have that see"
    ),
    labels={
        Kind.CARD: _phrases(
            "card, cards, card number, card numbers, credit card, debit card, credit card number, debit card number, "
            "bank card, visa, visa card, mastercard, master card, amex, american express, diners, diners club, "
            "maestro, unionpay, union pay, discover card, long number, sixteen digits, 16 digits, sixteen digit "
            "number, 16 digit number, card no, pan"
        ),
        Kind.CVV: _phrases(
            "cvv, c v v, cvv2, cvc, c v c, cvc2, csc, c s c, cvv number, cvv code, cvc code, cvc number, c v v "
            "number, c v v code, c v c code, card security code, card verification value, card verification code, "
            "card verification number, on the back, digits on the back, numbers on the back, code on the back, on "
            "the reverse, on the signature strip, security digits, three digit security code, on the back side, "
            "verification value, back of the card, back of my card"
        ),
        Kind.PIN: _phrases(
            "pin, pins, p i n, pin number, pin code, p i n number, personal identification number, telephone pin, "
            "phone pin, phone banking pin, voicemail pin, account pin"
        ),
        Kind.CODE: _phrases(
            "otp, o t p, totp, one time passcode, one time pass code, one time password, one time pin, one time "
            "passwords, onetime password, onetime passcode, two factor, two fa, 2fa, 2 factor, two step, 2 step, "
            "authenticator, verification number, authentication number, security number, one time number, texted me, "
            "text says, message says, sms says, text message says, email says, authenticator says, app says, text "
            "reads, six digits, 6 digits, digits from the text, digits in the text, digits from the message, digits "
            "in the message, digits we sent, digits i sent, numbers in the text, numbers from the text, numbers in "
            "the message, sms, verification, two factor authentication, digit code"
        ),
        Kind.IDENTITY: _phrases(
            "social security, social security number, social security no, ssn, s s n, ss number, social, social "
            "number, national insurance, national insurance number, ni number, n i number, nino, social insurance "
            "number, social insurance, s i n, sin number, tax id, taxpayer id, tin, itin, my sin"
        ),
        Kind.PASSWORD: _phrases(
            "password, passwords, pass word, passphrase, pass phrase, passcode, pass code, passcodes, secret word, "
            "secret phrase, memorable word, memorable phrase, memorable information, memorable answer, magic word, "
            "security word, safe word, code word, codeword, secret answer, security answer, maiden name, security "
            "question, pwd"
        ),
        Kind.PHONE: _phrases(
            "phone, phone number, telephone, telephone number, mobile, mobile number, cell, cell number, cell phone, "
            "cellphone, landline, landline number, fax, fax number, whatsapp, call back number, callback number, "
            "callback, call back, call me, call me back, call us, ring me, ring us, phone me, reach me, reach us, "
            "reach him, reach her, text me at, text me on, text us, contact number, contact me, number to call, best "
            "number, dial, dialled, dialed, called, calling from, call from, extension, ext, tel, home number, work "
            "number, office number, direct line, direct number, handset, hotline, switchboard, call him, call her, "
            "call them, my wife's number, my husband's number, area code, country code, dialling code, dialing code"
        ),
        Kind.NUMBER: _phrases("number, numbers, my number, our number, the number"),
        Kind.KEPT: _phrases(
            "order, orders, order number, order no, order id, order code, booking, booking number, booking "
            "reference, booking code, booking id, reservation, reservation number, reservation code, reservation "
            "reference, confirmation number, confirmation reference, confirmation no, confirmation, reference, "
            "reference number, reference code, ref, ref number, invoice, invoice number, bill, bill number, receipt, "
            "receipt number, case, case number, case id, ticket, ticket number, tracking, tracking number, tracking "
            "code, tracking id, shipment, shipment number, consignment number, parcel, parcel number, package "
            "number, policy, policy number, customer, customer number, customer id, customer no, client number, "
            "claim, claim number, contract, contract number, member number, membership number, membership, member "
            "id, loyalty number, loyalty card, loyalty card number, loyalty points, frequent flyer number, frequent "
            "flyer, rewards number, rewards card, membership card, membership card number, library card, library "
            "card number, gift card, gift card number, business card, boarding card, sim card, report card, identity "
            "card, id card, green card, insurance card, insurance card number, key card, post card, birthday card, "
            "flight, flight number, room number, zip, zip code, zipcode, postcode, post code, postal code, serial, "
            "serial number, serial no, model, model number, part number, item number, item, product number, sku, "
            "product, imei, meter number, meter, meter reading, registration, registration number, plate, licence "
            "plate, license plate, last four, last 4, last four digits, last 4 digits, last4, last three digits of "
            "my number, ending in, ends in, ends with, ending with, ending, that ends, error number, error code, "
            "account number, account no, account id, account ending, routing number, iban, sort code, bank code, "
            "transaction, transaction number, transaction id, purchase number, purchase order, po number, delivery "
            "number, return number, rma, voucher number, quote number, quote, application number, complaint number, "
            "incident, incident number, request number, service number, repair number, work order, job number, case "
            "reference, record locator, pnr, locator, train number, employee number, staff number, student number, "
            "patient number, passport, passport number, licence number, license number, driver's license, driver's "
            "licence, file number, id number, user number, username, user name, code of conduct, carrier reference, "
            "article number, catalogue number, catalog number, lot number, batch number, barcode"
        ),
        Kind.OTHER: _phrases(
            "table, seat, apartment, apt, suite, flat, house number, expires, expiry, expiration, expiry date, "
            "expiration date, valid until, valid thru, valid through, good through, exp, exp date, version, page, "
            "chapter, error, status, charged, price, prices, cost, costs, paid, pay, amount, total, balance, refund, "
            "refunded, deposit, fee, how much, how many, address, street, avenue, road, born, birthday, date of "
            "birth, birth date, dob, year, years, appointment, degrees, temperature, gate, bus, platform, vehicle, "
            "room, unit, login is"
        ),
    },
    not_labels=_phrases(
        "over the phone, on the phone, by phone, phone me back, phone bill, pin down, pin it, pin that, pin point, "
        "pin up, social media, social worker, social network, social networks, social event, social events, social "
        "distancing, social club, social services, social hour, social welfare, social house, social life, social "
        "call, social security office, back order, in order, order to, in order to, order a, visa application, pin "
        "me, of course, on the back burner, on the back foot, on the back porch, wild card, on the cards, in case, "
        "just in case, in any case, in that case, number of, a number of, a cell, number one, security deposit, card "
        "trick, play my card, bill me, room for, table for, pay for, pay with, paid with, paid by, paying with, pay "
        "by, paid for, any number, in the year, exit code zero"
    ),
    capital_labels={"SIN": Kind.IDENTITY, "NI": Kind.IDENTITY, "CID": Kind.CVV, "MFA": Kind.CODE, "TAN": Kind.CODE},
    code=_words("code codes code's"),
    secret_codes=_words(
        "verification security login access factor time 2fa authentication authenticator auth sms text texted "
        "recovery backup passcode unlock reset pin otp secret login in on entry door alarm authorization "
        "authorisation activation six four digit sign lock safe validation sent"
    ),
    ordinary_codes=_words(
        "zip postal post postcode area promo promotion promotional discount error dress country dialling dialing "
        "dial coupon voucher booking reservation product item airport qr bar source status response fault colour "
        "color style model sort tax offer referral gift morse region currency department flight hotel swift bank "
        "rate event exit stock part vendor customer order tracking invite invitation seat room reference ticket town "
        "city state diagnostic trouble course class building zone plan campaign sales deal savings affiliate partner "
        "corporate group fare iata icao shipping hs sic naics cpt diagnosis billing procedure article parcel penal "
        "civil tariff location store branch agent cost project"
    ),
    counted=_words("digit digits number numbers letter letters character characters figure figures"),
    references=_words("id no reference ref code locator pnr imei sku iban"),
    copulas=_words(
        "is was are were it's its that's equals reads says said would be should being will called goes came"
    ),
    contraction="'s",
    connectors=_words(
        "is was are were it's its that's equals reads says said would be should number numbers no nr num id code ref "
        "reference the my our a it that which also actually now again just simply under here hash currently still i "
        "think believe guess goes like as follows following starts you okay so this and digits value one's on file "
        "i've got have which's named called"
    ),
    prepositions=_words("for of on from with to in at by behind under about"),
    determiners=_words(
        "the my our your a an this that his her their its new old other same first second main online"
    ),
    function_words=_words(
        "and is was but so please thanks thank that which then i my the for or if it you we can could would it's "
        "that's are be as at on in of to with because when who what not no yes yeah okay ok just also too now again "
        "right correct sorry wait hold extension ext double triple if've from by he she they have has had do does "
        "did will about there here this those these our your his her their uh um er expires expiry exp expiration "
        "cvv cvc zip pin only again good got thru through"
    ),
    year_words=_words(
        "in since of until till from by before after during year early late mid summer winter spring autumn fall"
    ),
    months=_words(
        "january february march april may june july august september october november december jan feb mar apr jun "
        "jul aug sep sept oct nov dec"
    ),
    spelling=_words(
        "alpha alfa bravo charlie delta echo foxtrot golf hotel india juliet juliett kilo lima mike november oscar "
        "papa quebec romeo sierra tango uniform victor whiskey whisky xray yankee zulu capital uppercase lowercase "
        "underscore hash asterisk"
    ),
    states=_words(
        "not n't wrong incorrect invalid expired expiring blocked locked working broken missing lost gone no longer "
        "never being rejected declined refused required needed supposed reset going about on in at for from to too "
        "very so always sent unknown different changed unable failing failed case weak strong safe secure stored "
        "saved written somewhere what why how where who when which whatever fine okay ok ready there here been "
        "having driving making giving asking getting doing causing due via through under an still valid old new long "
        "short hard easy impossible difficult annoying useless confidential private secret out off up down over done "
        "already automatically generated only usually apparently probably also just really hidden visible empty "
        "blank known denied accepted recognized recognised disabled enabled inactive active compromised leaked "
        "stolen"
    ),
    not_values=_words(
        "problem issue same one right reason trouble question thing matter first last only next case point way email "
        "mail app website default letter text message inbox best worst correct"
    ),
    hedges=_words(
        "still also now just already actually really currently probably definitely simply always um uh er erm well "
        "like i think believe guess all lowercase uppercase"
    ),
    clause_starts=_words(
        "i i'm i've i'd i'll my it it's that that's this the we we're you can could please would will there there's "
        "they he she our his her thanks thank what when where why how do does did is are was if but so because which "
        "since although though who let let's have"
    ),
    conjunctions=_words("and but so because if when though although since or"),
    courtesies=_words("please thanks thank okay ok cheers right sorry sir ma'am madam hello"),
    corrections=_words(
        "no sorry i mean or wait rather actually yes that is it's that's to not the last first part half was make "
        "again repeat correction it should be i'll say once more let me is once there one second correct oops "
        "instead but and then so it of my bad said that's yeah okay well uh um er meant try other either maybe pin "
        "code digits number"
    ),
    retractions=_words("no sorry wait actually rather correction hold hang oops mean make"),
    set_verbs=_words(
        "use used using set put have chose choose changed change made make try tried type typed enter entered"
    ),
    as_words=_words("as for"),
    to_words=_words("to as"),
    lost_verbs=_words(
        "tried try forgot forget forgotten lost lose reset resetting change changed changing remember recall update "
        "updating recover recovering find without need"
    ),
    request_words=_words(
        "please tell give read say need what what's which could can may enter provide go spell confirm have send "
        "share repeat type let know and your"
    ),
    refusals=_words(
        "i i'm i've i'd i'll don't why what which who how where when no not sorry hold hang wait one just let give "
        "can could do does is are of never none nothing isn't won't can't you we they he she there that's's actually "
        "but my oh sure yes okay yeah um uh ok"
    ),
    answer_starts=_words(
        "yes yeah yep sure okay ok of course certainly well um uh er so right it's it is the my that's would be all "
        "lower case uppercase lowercase as password passphrase phrase pass word passcode here goes ready alright no "
        "problem that think i believe absolutely gladly was"
    ),
    questions=_words(
        "what which that this where how it here why who so whose there when not now only neither all whatever "
        "everything something anything nothing i you problem"
    ),
)  # fmt: skip
