-- Who searches types neither accents nor capitals: "ecole" finds "École", whether its accent is in the letter or follows
-- it, and "coeur" finds "Cœur". Not by the extension unaccent: its function is not immutable, and a server may lack it.
-- In the locale C lower() knows ASCII only, so it comes last.
CREATE FUNCTION folded(words text) RETURNS text LANGUAGE sql IMMUTABLE PARALLEL SAFE AS $$
    SELECT lower(replace(replace(replace(replace(translate(words,
        'ÀÁÂÃÄÅàáâãäåÇçČčÈÉÊËèéêëĚěÌÍÎÏìíîïÑñŇňÒÓÔÕÖØòóôõöøŠšÙÚÛÜùúûüÝŸýÿŽž’' ||
        U&'\0300\0301\0302\0303\0308\030A\0327\030C',
        'AAAAAAaaaaaaCcCcEEEEeeeeEeIIIIiiiiNnNnOOOOOOooooooSsUUUUuuuuYYyyZz'''),
        'Œ', 'oe'), 'œ', 'oe'), 'Æ', 'ae'), 'æ', 'ae'))
$$;
